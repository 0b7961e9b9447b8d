//! A ZooKeeper session as streams of facts; knows nothing of what the znodes mean.
