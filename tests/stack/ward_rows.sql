insert into every values (
    18446744073709551615 - @n, -128, 255, true, -32768, 65535, -8388608, 16777215, -2147483648 / 4,
    4294967295, -9223372036854775808, 18446744073709551615,
    -12345678901234.5678, 1234567890123456789012345678.0123456789,
    12345678901234567890123456789012345.123456789012345678901234567890,
    1.1, -1.7976931348623157e308, b'1', b'1000000000000000000000000000000000000011', 2024,
    '2024-02-29', '23:59:59.123456', '1000-01-01 00:00:00', '9999-12-31 23:59:59.999999',
    '2024-02-29 10:11:12', '2038-01-19 03:14:07.999999',
    'b c', 'z,x', '{"a": 1,  "b": "é"}', 'ab', 'ab\0', 'blob\0\1',
    'ab  ', 'vc  ', 'é 😀', 'é', point(1, 2), default, default,
    '123e4567-e89b-12d3-a456-426655440000', 'a,b'
);
insert into every (id, whole) values (@n, null);
insert into every (id, text_, amount, bits, at_) values (@n + 1, '', 0, 0, '00:00:00');
insert into every (id, real_, double_, at_, amount, longest, beyond, kinds, text_, padded, doc) values
    (@n + 2, 0.123456789, 0.1, '10:11:12.5', 12.3, 0, 0.000000000000000000000000000001, '', 'a|b ', '', '[]'),
    (@n + 3, 16777217, 5e-324, '-00:00:01', -0.5, 100, -100, 'y', '\t"\'\\', ' a', null),
    (@n + 4, 3.4028234e38, 1e15, '24:00:00', 100, 1e-10, 1, null, '%', null, 'null');
insert into every (id, day_, seen, seen_us) values (@n + 5, '9999-12-31', '2024-03-31 02:30:00', '1969-12-31 23:59:59.999999');
insert into every (id, day_, seen, seen_us) values (@n + 6, '0000-00-00', '0000-00-00', '2024-00-10');
insert into shelf values
    (concat('a', @n), -1, 'low'), (concat('B', @n), 0, ''), (concat('b', @n), 1, null),
    (concat('Ä', @n), -3, 'ß'), (concat('😀', @n), 3, '100 %'), (concat('a', @n), -2, 'lower');
insert into indexed values ('de', concat('x-', @n), 'somebody');
insert into shift values (@n, '100:00:00');
insert into keyless values (@n, 'alike'), (@n, 'alike');
