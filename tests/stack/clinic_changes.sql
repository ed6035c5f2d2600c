-- A day at the clinic: what changes after the first snapshot. No update of `alarm`, which has no key.
set search_path = clinic;

insert into patient (patient_id, full_name, weight_kg, temperature, height, history) values
    (11, 'name 11', 70.5, 1.17549435e-38, 0.1, (select string_agg(md5(n::text), '') from generate_series(1, 300) as n)),
    (12, 'name 12', null, '-Infinity', 5e-324, null);
-- The history stays as it is, and is left out of the event.
update patient set weight_kg = 71.25 where patient_id = 11;
update patient set patient_id = 20, registered_at = '2024-10-27 02:30:00.000001+01' where patient_id = 2;
delete from visit where patient_id = 1 and visit_no = 2;
insert into visit (patient_id, visit_no, cost, dose, began_at, lasted, symptoms, codes, prices, vitals, scan, is_paid, until, stay, total) values
    (3, 1, 999999999.999, 123E-10, '9999-12-31 23:59:59.999999', '-3 years -5 mons -4 days -05:06:07', '{"a,b","{c}",""}', '{-1}', '{0.00,NULL}', '{"k": [1.0, null]}', '\xdeadbeef', b'1', '00:30:00+05:30', '(,2024-01-01)', 92233720368547758.07),
    (3, 2, 0.001, 'NaN', '1969-12-31 23:59:59.999999', '400 days 100:00:00.000001', array[E'tab\there'], null, null, '[]', null, b'0', null, null, 0);
update visit set symptoms = array_append(symptoms, 'cough'), urgency = 'soon' where patient_id = 1;
update measurement set taken_on = '2024-06-01' where taken_on = '2023-05-01';
update device set owner = 'stores' where made_in = 'de';
delete from device where made_in = 'fr';
insert into alarm values (3, '2024-02-02 02:02:02.020202+00', E'smoke \\ "fire"');
delete from alarm where ctid = (select min(ctid) from alarm where room = 1);
truncate "BedLog";
insert into "BedLog" values ('ä', '2024-03-01 00:00:00+00', 'South'), ('Z', '2024-03-01 00:00:00+00', null), ('a', '2024-03-02 00:00:00+00', '');
