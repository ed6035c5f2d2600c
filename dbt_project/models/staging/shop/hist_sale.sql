{{ change_log(source('shop', 'sale')) }}
