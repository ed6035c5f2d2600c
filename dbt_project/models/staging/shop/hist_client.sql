{{ change_log(source('shop', 'client')) }}
