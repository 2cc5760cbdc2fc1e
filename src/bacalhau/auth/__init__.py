"""Who asks: `guard` turns a request's credentials into a Principal."""
