//! What Watchkeeper keeps in ZooKeeper.
