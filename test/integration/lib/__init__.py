"""What the integration tests are made of: the daemon under test, backends, clients, TLS material and hellos."""
