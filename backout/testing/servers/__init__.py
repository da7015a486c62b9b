"""Real servers for demos and tests, started privately and gone with the process that started them.

```python
with start_broker() as broker:
    app = Celery(broker=broker.url)
```

PostgreSQL is in `backout.testing.servers.postgres`, MariaDB in `backout.testing.servers.mariadb`: they need the extras
`postgres` and `mysql`.
"""

from backout.testing.servers.programs import ServerSource, ServerUnavailable
from backout.testing.servers.valkey import DEMO_SOURCES, TEST_SOURCES, Broker, start_broker

__all__ = ["DEMO_SOURCES", "TEST_SOURCES", "Broker", "ServerSource", "ServerUnavailable", "start_broker"]
