/** Six rules that every host deserves, to begin with where there are none. */
export const STARTER_NAME = 'hosts.yml';
export const STARTER = `groups:
  - name: hosts
    rules:
      - alert: TargetDown
        expr: up == 0
        for: 2m
        labels: {severity: critical}
        annotations: {summary: '{{ $labels.instance }} does not answer'}
      - alert: DiskFull
        expr: 100 * (1 - node_filesystem_avail_bytes{fstype!~"tmpfs|overlay|squashfs|ramfs"} / node_filesystem_size_bytes) > 90
        for: 10m
        labels: {severity: warning}
        annotations: {summary: '{{ $labels.mountpoint }} on {{ $labels.instance }} is {{ $value | printf "%.0f" }} % full'}
      - alert: DiskFullSoon
        expr: predict_linear(node_filesystem_avail_bytes{fstype!~"tmpfs|overlay|squashfs|ramfs"}[6h], 86400) < 0
        for: 1h
        labels: {severity: warning}
        annotations: {summary: '{{ $labels.mountpoint }} on {{ $labels.instance }} will be full within a day'}
      - alert: MemoryLow
        expr: node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes < 0.05
        for: 10m
        labels: {severity: warning}
        annotations: {summary: '{{ $labels.instance }} has {{ $value | humanizePercentage }} of its memory left'}
      - alert: CpuBusy
        expr: 100 * (1 - avg by (job, instance) (rate(node_cpu_seconds_total{mode="idle"}[5m]))) > 90
        for: 30m
        labels: {severity: warning}
        annotations: {summary: '{{ $labels.instance }} has been busy for half an hour'}
      - alert: HostRestarted
        expr: changes(node_boot_time_seconds[15m]) > 0
        labels: {severity: info}
        annotations: {summary: '{{ $labels.instance }} was restarted'}
`;
