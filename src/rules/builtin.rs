//! The rule files that ship with the server, in the binary.

/// Name and text of each file.
pub const FILES: &[(&str, &str)] = &[
    ("host.yml", include_str!("../../rules/host.yml")),
    ("watchkeeper.yml", include_str!("../../rules/watchkeeper.yml")),
    ("zookeeper.yml", include_str!("../../rules/zookeeper.yml")),
];

/// The unit tests of each file, under the file's name.
#[cfg(test)]
pub(super) const TESTS: &[(&str, &str)] = &[
    ("host.yml", include_str!("../../rules/host_test.yml")),
    ("watchkeeper.yml", include_str!("../../rules/watchkeeper_test.yml")),
    ("zookeeper.yml", include_str!("../../rules/zookeeper_test.yml")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::file;
    use crate::rules::spec::RuleKind;

    #[test]
    fn all_are_good_and_say_what_to_do() {
        let mut count = 0;
        for (name, text) in FILES {
            let read = file::read(text).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
            for rule in read.file.groups.iter().flat_map(|group| &group.rules) {
                let RuleKind::Alert { annotations, .. } = &rule.kind else { continue };
                let names: Vec<&str> = annotations.iter().map(|(name, _)| name.as_str()).collect();
                assert_eq!(names, ["action", "description", "runbook", "summary"], "{}", rule.name);
                assert!(rule.labels.iter().any(|(name, _)| name == "severity"), "{}", rule.name);
                count += 1;
            }
        }
        assert!(count > 60, "{count}");
    }
}
