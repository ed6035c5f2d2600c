{{ change_log(source('shop', 'order')) }}
