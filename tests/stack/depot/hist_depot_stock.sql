{{ change_log(source('depot', 'stock')) }}
