-- A ward's database: a column of nearly every type, and what the connector cannot take.
create table every (
    id bigint unsigned primary key,
    tiny tinyint, tiny_u tinyint unsigned, flag boolean, small smallint, small_u smallint unsigned,
    medium mediumint, medium_u mediumint unsigned, whole int, whole_u int unsigned zerofill,
    big bigint, big_u bigint unsigned,
    amount decimal(18, 4), longest decimal(38, 10), beyond decimal(65, 30),
    real_ float, double_ double, bit_ bit(1), bits bit(40), year_ year,
    day_ date, at_ time(6), seen datetime, seen_us datetime(6), stamp timestamp null,
    stamp_us timestamp(6) null,
    kind enum('a', 'b c'), kinds set('x', 'y', 'z'), doc json,
    bin binary(6), varbin varbinary(10), blob_ blob,
    padded char(5), name_ varchar(20), text_ longtext, latin varchar(20) character set latin1,
    spot point, twice int as (whole * 2) virtual, thrice int as (whole * 3) stored,
    hidden int invisible,
    code uuid, odd enum('a,b', 'c')
) comment 'one of "each" {{ kind }}';

create table indexed (made_in char(2) not null, serial varchar(20) not null, owner text);
create unique index identity on indexed (made_in, serial);
create table keyless (a int, b varchar(10));
create table shelf (place varchar(20), level smallint, holds text, primary key (place, level));
create table parent (id int primary key);
create table child (id int primary key, parent_id int, foreign key (parent_id) references parent (id) on delete cascade);
create table network (id int primary key, address inet6);
create table shift (id int primary key, lasts time not null);
create table by_uuid (id uuid primary key);
create view seen as select id from every;
