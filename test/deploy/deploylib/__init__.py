"""What deployment tests share: the package, trees to install it into, machines to boot."""
