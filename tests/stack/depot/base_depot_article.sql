{{ fold_current(source('depot', 'article')) }}
