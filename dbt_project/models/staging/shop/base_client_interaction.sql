{{ fold_current(source('shop', 'client_interaction')) }}
