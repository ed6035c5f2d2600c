-- Change data capture for the tables that are to enter the lake. Run again, it changes nothing.
--
--   sqlcmd -S server -d shop -v cdc_password="…" tables="Product,Order,Sale,Client" -i enable-cdc.sql
--
-- By a member of sysadmin, while SQL Server Agent runs: its jobs read the log.
-- The snapshot is taken without locks, from row versions, which tempdb keeps meanwhile.
if exists (select 1 from sys.databases where name = db_name() and snapshot_isolation_state = 0)
    exec (N'alter database current set allow_snapshot_isolation on');
if exists (select 1 from sys.databases where name = db_name() and is_cdc_enabled = 0)
    exec sys.sp_cdc_enable_db;
go

-- Who reads the changes, and nothing else.
if not exists (select 1 from sys.server_principals where name = N'lakehouse_cdc')
    create login lakehouse_cdc with password = N'$(cdc_password)', check_expiration = off;
if not exists (select 1 from sys.database_principals where name = N'lakehouse_cdc')
    create user lakehouse_cdc for login lakehouse_cdc;
if not exists (select 1 from sys.database_principals where name = N'lakehouse_reader')
    create role lakehouse_reader;
alter role lakehouse_reader add member lakehouse_cdc;
grant select on schema::cdc to lakehouse_reader;
grant view database state to lakehouse_reader;
go

declare @table sysname, @grant nvarchar(400);
declare wanted cursor local fast_forward for
    select t.name
    from sys.tables as t
    inner join string_split(N'$(tables)', N',') as listed on t.name = trim(listed.value)
    where t.schema_id = schema_id(N'dbo');
open wanted;
fetch next from wanted into @table;
while @@fetch_status = 0
begin
    -- The snapshot reads the table itself.
    set @grant = N'grant select on dbo.' + quotename(@table) + N' to lakehouse_reader';
    exec (@grant);
    if exists (select 1 from sys.tables where object_id = object_id(N'dbo.' + quotename(@table))
               and is_tracked_by_cdc = 0)
        exec sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = @table,
            @role_name = N'lakehouse_reader', @supports_net_changes = 0;
    fetch next from wanted into @table;
end;
close wanted;
deallocate wanted;

-- A table that is not there is a mistake, not something to pass over.
if exists (
    select 1 from string_split(N'$(tables)', N',') as listed
    where object_id(N'dbo.' + quotename(trim(listed.value))) is null
)
    throw 50000, N'A listed table does not exist in schema dbo; the others are captured.', 1;
go

-- A week of changes, in minutes: as long may the connector be away.
exec sys.sp_cdc_change_job @job_type = N'cleanup', @retention = 10080;
exec sys.sp_cdc_stop_job @job_type = N'cleanup';
exec sys.sp_cdc_start_job @job_type = N'cleanup';
go
