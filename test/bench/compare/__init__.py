"""
The comparison: mc-proxy, its rivals and a yardstick side by side in one interleaved run.

Every proxy has one worker on CPU 0; all clients and backends are one process on CPU 1. Logs are off, timeouts are the same. Each round
runs every scenario, and in it every proxy, in random order; what is shown are medians over the rounds, and medians of the ratios within
a round. docs/performance.md tells the method.
"""
