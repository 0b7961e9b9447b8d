//! Go's text/template and html/template, as far as Prometheus and Alertmanager use them.
