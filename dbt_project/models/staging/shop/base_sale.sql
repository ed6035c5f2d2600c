{{ fold_current(source('shop', 'sale')) }}
