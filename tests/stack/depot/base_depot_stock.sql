{{ fold_current(source('depot', 'stock')) }}
