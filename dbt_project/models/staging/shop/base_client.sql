{{ fold_current(source('shop', 'client')) }}
