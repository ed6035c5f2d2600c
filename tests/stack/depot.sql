create table article (
    article_id bigint unsigned primary key,
    sku varchar(20) not null,
    price decimal(12, 4),
    weight double,
    is_sold tinyint(1) not null default 1,
    listed_on date,
    changed_at timestamp(6) not null default current_timestamp(6) on update current_timestamp(6),
    leaflet mediumtext
);

create table stock (
    site smallint,
    article_id bigint unsigned,
    amount int not null,
    counted_at datetime(3),
    primary key (site, article_id)
);

-- Without a key: what is alike is told apart by its place in the transaction.
create table movement (moved_at datetime(6) not null, sku varchar(20) not null, amount int not null);

-- The test writes here last, to see when all before has reached Kafka.
create table marker (number int primary key);
