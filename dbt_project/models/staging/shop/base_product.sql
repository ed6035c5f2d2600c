{{ fold_current(source('shop', 'product')) }}
