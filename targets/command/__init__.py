"""Any server that an argument list starts or a URL finds: its knobs are whatever the study's templates make of them."""
