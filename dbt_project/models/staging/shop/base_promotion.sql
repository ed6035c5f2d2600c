{{ fold_current(source('shop', 'promotion')) }}
