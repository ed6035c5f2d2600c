{{ fold_current(source('shop', 'transporter')) }}
