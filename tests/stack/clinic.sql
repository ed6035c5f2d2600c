-- A clinic's database: nothing of the shop, and a column of nearly every type.
create schema clinic;
set search_path = clinic;

create type triage as enum ('urgent', 'soon', 'can wait');
create domain amount as numeric(12, 3);
create domain fee as amount check (value >= 0);

create table patient (
    patient_id bigint primary key,
    full_name text not null,
    email varchar(200),
    birth_date date,
    blood_type char(3),
    weight_kg numeric(5, 2),
    height double precision,
    temperature real,
    is_insured boolean,
    wakes_at time,
    registered_at timestamptz,
    external_id uuid,
    history text
);
comment on table patient is 'who is treated: "in" or {{ out }}';
comment on column patient.patient_id is 'number on the wristband: it''s printed # there';
comment on column patient.blood_type is 'as told
by the laboratory';

create table visit (
    patient_id bigint not null,
    visit_no integer not null,
    "order" integer,
    urgency triage,
    cost fee,
    dose numeric,
    began_at timestamp,
    lasted interval,
    symptoms text[],
    codes integer[],
    prices numeric(10, 2)[],
    labels uuid[],
    vitals jsonb,
    letter json,
    scan bytea,
    flags bit(5),
    is_paid bit(1),
    source_ip inet,
    until timetz,
    stay daterange,
    place point,
    total money,
    cost_doubled numeric(14, 3) generated always as (cost * 2) stored,
    grid integer[][],
    "year" integer,
    "visit note" text,
    primary key (patient_id, visit_no)
);
create table "BedLog" ("BedNo" text, "ChangedAt" timestamptz, "Ward" text, primary key ("BedNo", "ChangedAt"));
create table device (serial text not null, made_in text not null, owner text);
create unique index device_identity on device (serial, made_in);
create table alarm (room integer, raised_at timestamptz, message text);
create table measurement (measurement_id bigint, taken_on date, pulse integer, primary key (measurement_id, taken_on))
    partition by range (taken_on);
create table measurement_2023 partition of measurement for values from ('2023-01-01') to ('2024-01-01');
create table measurement_2024 partition of measurement for values from ('2024-01-01') to ('2025-01-01');
create view insured as select patient_id from patient where is_insured;
create unlogged table scratch (id integer primary key);
create table "odd name" (id integer primary key);
create table calendar ("year" integer primary key, days integer);

insert into patient values
    (1, 'name 1', 'one@example.org', '1980-02-29', 'A+', 61.50, 1.68, 36.6, true, '06:30:00', '2024-01-01 08:00:00.123456+02', '6f2c0b6e-5f3f-4c1b-9a0e-3b1f0a1b2c3d', repeat(md5('1'), 400)),
    (2, 'name 2', null, null, '0-', 80.00, 1e-7, -0.0, false, '24:00:00', '1970-01-01 00:00:00+00', null, E'Ünï 🦆 "q" \\ back\ttab\nline'),
    (3, 'name 3', 'three@example.org', '2001-12-31', null, null, 'NaN', 'Infinity', null, '23:59:59.1', null, null, ''),
    (10, 'name 10', 'ten@example.org', '1999-01-01', 'AB+', 0.01, 12345678.9, 1e10, true, null, '9999-12-31 23:59:59.999999+00', null, 'e' || chr(769));
insert into visit (patient_id, visit_no, "order", urgency, cost, dose, began_at, lasted, symptoms, codes, prices, labels, vitals, letter, scan, flags, is_paid, source_ip, until, stay, place, total, grid, "year", "visit note") values
    (1, 1, 7, 'can wait', 12.5, 0.0000001, '2024-05-06 10:00:00.123456', '1 year 2 mons 3 days 04:05:06.7', '{"a b",NULL,"q\"x","ü\\y"}', '{1,NULL,3}', '{1.50,2}', '{6f2c0b6e-5f3f-4c1b-9a0e-3b1f0a1b2c3d}', '{"b": 1.50, "a": "ü"}', '{"b": 1,  "a": [1, 2]}', '\x00ff10', b'10101', b'1', '10.0.0.1', '10:00:00.25+02', '[2024-01-01,2024-02-01)', '(1.5,2)', 1234.5, '{{1,2},{3,4}}', 2024, 'free text'),
    (1, 2, null, 'urgent', 0, 100000000000000000000.00, '2024-05-06 10:00:00', '-1 mon +2 days -00:00:01.5', '{}', '{}', null, null, 'null', '[]', '', b'00000', b'0', '10.0.0.0/8', null, 'empty', null, -0.01, null, null, null),
    (2, 1, 1, null, null, -12.3400, '0001-01-01 00:00:00', '0', null, null, null, null, null, null, decode(repeat('ab', 100), 'hex'), null, null, null, null, null, null, null, null, null, null);
insert into "BedLog" values ('a', '2024-01-01 00:00:00+00', 'North'), ('B', '2024-01-01 00:00:00+00', 'north'), ('ä', '2024-01-01 00:00:00.000001+00', null);
insert into device values ('x-1', 'de', 'ward'), ('x-1', 'fr', null);
insert into alarm values (1, '2024-01-01 00:00:00+00', 'fall'), (1, '2024-01-01 00:00:00+00', 'fall'), (2, null, null);
insert into measurement values (1, '2023-05-01', 60), (1, '2024-05-01', 62);
