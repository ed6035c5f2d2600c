{{ change_log(source('depot', 'movement')) }}
