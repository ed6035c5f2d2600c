{{ change_log(source('shop', 'promotion')) }}
