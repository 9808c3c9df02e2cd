print('layers: not checked yet')
