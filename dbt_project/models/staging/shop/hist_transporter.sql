{{ change_log(source('shop', 'transporter')) }}
