{{ fold_current(source('shop', 'inventory_movement')) }}
