{{ change_log(source('depot', 'article')) }}
