{{ change_log(source('shop', 'client_interaction')) }}
