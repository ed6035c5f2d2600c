{{ fold_current(source('shop', 'order')) }}
