{{ fold_current(source('shop', 'order_item')) }}
