{{ change_log(source('shop', 'product')) }}
