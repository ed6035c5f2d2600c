{{ change_log(source('shop', 'inventory_movement')) }}
