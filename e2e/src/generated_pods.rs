//! Pods of shapes that nobody thought of: the same ones for the same seed. Both engines of injection have to
//! make the same of each, or refuse it in the same words.

use serde_json::{Map, Value, json};

/// That many pods. Their names are `generated-<position>`; the API server takes most of them.
#[must_use]
pub fn generated_pods(seed: u64, count: usize) -> Vec<Value> {
    let mut dice = Dice(seed);
    (0..count).map(|position| dice.pod(position)).collect()
}

/// Numbers that follow from a seed (SplitMix64).
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    const fn below(&mut self, bound: usize) -> usize {
        // Less than `bound`, so it fits.
        (self.next() % bound as u64) as usize
    }

    const fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn pod(&mut self, position: usize) -> Value {
        let class = self.pick(&[Class::BestEffort, Class::Burstable, Class::Guaranteed]);
        let mut spec = Map::new();
        let containers = 1 + self.below(6);
        let volumes = self.chance(40);
        let list = |dice: &mut Self, letter: char, count: usize| -> Vec<Value> {
            let of = |i| dice.container(format!("{letter}{i}"), class, volumes);
            (0..count).map(of).collect()
        };
        spec.insert("containers".into(), list(self, 'c', containers).into());
        let inits = self.below(5);
        let mut inits = list(self, 'i', inits);
        self.make_native(&mut inits);
        if !inits.is_empty() {
            spec.insert("initContainers".into(), inits.into());
        }
        if volumes {
            let own = json!([{"name": "data", "emptyDir": {}}]);
            spec.insert("volumes".into(), own);
        }
        self.surroundings(&mut spec);
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": self.metadata(position),
            "spec": spec,
        })
    }

    fn container(&mut self, name: String, class: Class, volumes: bool) -> Value {
        let mut container = json!({"name": name, "image": "registry.example/app:1"});
        if self.chance(30) {
            let name = self.pick(&["A", "HALLPASS_SOCKET", "HALLPASS_OPERATOR"]);
            container["env"] =
                json!([{"name": "FIRST", "value": "$(A)"}, {"name": name, "value": "/x"}]);
        }
        if volumes && self.chance(50) {
            let path = self.pick(&[
                "/data",
                "/run",
                "/var/run/hallpassed",
                "/var/run/hallpass",
                "/srv",
            ]);
            container["volumeMounts"] = json!([{"name": "data", "mountPath": path}]);
        }
        if let Some(resources) = self.resources(class) {
            container["resources"] = resources;
        }
        container
    }

    fn resources(&mut self, class: Class) -> Option<Value> {
        Some(match class {
            Class::BestEffort if self.chance(50) => return None,
            Class::BestEffort => json!({"requests": {"cpu": "0"}}),
            Class::Guaranteed => {
                let (cpu, memory) = (self.below(CPU.len()), self.below(MEMORY.len()));
                let mut resources = json!({"limits": {
                    "cpu": self.pick(CPU[cpu]), "memory": self.pick(MEMORY[memory]),
                }});
                if self.chance(50) {
                    resources["requests"]["cpu"] = self.pick(CPU[cpu]).into();
                    resources["requests"]["memory"] = self.pick(MEMORY[memory]).into();
                }
                // Almost.
                if self.chance(10) {
                    resources["limits"]["cpu"] = "1001m".into();
                }
                resources
            }
            Class::Burstable => match self.below(4) {
                0 => return None,
                1 => json!({"requests": {"cpu": self.pick(CPU[0])}}),
                2 => json!({"limits": {"memory": self.pick(MEMORY[1])}}),
                _ => json!({
                    "requests": {"cpu": self.pick(CPU[0]), "memory": self.pick(MEMORY[0])},
                    "limits": {"cpu": self.pick(CPU[1]), "memory": self.pick(MEMORY[1]), "ephemeral-storage": "1Gi"},
                }),
            },
        })
    }

    /// Some of the init containers go on, and some of those are a mesh's.
    fn make_native(&mut self, inits: &mut [Value]) {
        let mut meshes = vec!["istio-proxy", "linkerd-proxy"];
        for init in inits {
            if self.chance(50) {
                init["restartPolicy"] = "Always".into();
            }
            if self.chance(40)
                && let Some(mesh) = meshes.pop()
            {
                init["name"] = mesh.into();
            }
        }
    }

    /// What is said of the pod as a whole.
    fn surroundings(&mut self, spec: &mut Map<String, Value>) {
        if self.chance(15) {
            spec.insert("hostNetwork".into(), true.into());
            if self.chance(60) {
                spec.insert("dnsPolicy".into(), "ClusterFirstWithHostNet".into());
            }
        } else if self.chance(15) {
            let policy = self.pick(&["ClusterFirst", "Default", "None"]);
            spec.insert("dnsPolicy".into(), policy.into());
            if policy == "None" {
                let config = json!({"nameservers": ["10.96.0.10"]});
                spec.insert("dnsConfig".into(), config);
            }
        }
        if self.chance(10) {
            let own = json!({"requests": {"cpu": "100", "memory": "1Ti"}});
            spec.insert("resources".into(), own);
        }
        if self.chance(30) {
            let secrets = self.pick(&[
                json!([]),
                json!([{"name": "theirs"}]),
                json!([{"name": "a"}, {"name": "b"}]),
            ]);
            spec.insert("imagePullSecrets".into(), secrets);
        }
        if self.chance(30) {
            spec.insert("serviceAccountName".into(), "default".into());
        }
        if self.chance(10) {
            let os = self.pick(&["linux", "windows"]);
            spec.insert("nodeSelector".into(), json!({"kubernetes.io/os": os}));
        }
        if self.chance(10) {
            spec.insert("automountServiceAccountToken".into(), false.into());
        }
    }

    fn metadata(&mut self, position: usize) -> Value {
        let mut annotations = Map::new();
        for (key, values) in ANNOTATIONS {
            if self.chance(7) {
                annotations.insert((*key).into(), self.pick(values).into());
            }
        }
        let mut metadata = json!({"name": format!("generated-{position}")});
        metadata["labels"]["hallpass.dev/inject"] =
            if self.chance(95) { "true" } else { "false" }.into();
        if !annotations.is_empty() {
            metadata["annotations"] = annotations.into();
        }
        metadata
    }
}

/// The class (QoS) that the containers are meant to give the pod.
#[derive(Debug, Clone, Copy)]
enum Class {
    BestEffort,
    Burstable,
    Guaranteed,
}

/// Each line is one amount, written in several ways; the second is the larger one.
const CPU: [&[&str]; 2] = [
    &[
        "100m",
        "0.1",
        "100000u",
        "1e-1",
        ".1",
        "100000000n",
        "0.1000",
    ],
    &["1", "1000m", "1.0", "1e0", "+1", "0.001k", "1000000u"],
];

const MEMORY: [&[&str]; 2] = [
    &[
        "64Mi",
        "67108864",
        "65536Ki",
        "0.0625Gi",
        "67108864000m",
        "67108.864k",
    ],
    &["1Gi", "1024Mi", "1073741824", "1048576Ki", "1.073741824G"],
];

const ANNOTATIONS: &[(&str, &[&str])] = &[
    ("hallpass.dev/start", &["Immediate", "Later", ""]),
    (
        "hallpass.dev/cpu-request",
        &["10m", "0.01", "1e-2", "0", "-1", "much", "200m"],
    ),
    (
        "hallpass.dev/cpu-limit",
        &["100m", ".1", "1", "1K", "", "5m", "1e1000000"],
    ),
    (
        "hallpass.dev/memory-request",
        &["8Mi", "16Mi", "32Mi", "1e7", "8mi"],
    ),
    (
        "hallpass.dev/memory-limit",
        &[
            "16Mi",
            "64Mi",
            "0.5Gi",
            "4Mi",
            "0.1n",
            "00000000000000000000000000000000064Mi",
        ],
    ),
    (
        "hallpass.dev/run-as-user",
        &[
            "1",
            "1000680000",
            "2147483647",
            "0",
            "2147483648",
            "01",
            "root",
            "-1",
        ],
    ),
    ("hallpass.dev/image", &["evil.example/sidecar"]),
    ("hallpass.dev/service-account", &["admin"]),
    (
        "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes",
        &[
            "",
            "data",
            "data,hallpass-cache",
            "hallpass-c0, hallpass-c1",
            "data,",
        ],
    ),
    ("a.example/b_c", &["x"]),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_pods_and_another_one_others() {
        assert_eq!(generated_pods(7, 50), generated_pods(7, 50));
        assert_ne!(generated_pods(7, 50), generated_pods(8, 50));
        assert_eq!(generated_pods(7, 50)[..10], generated_pods(7, 10));
    }

    #[test]
    fn every_shape_occurs_and_no_pod_has_a_name_twice() {
        let pods = generated_pods(1, 500);
        for pod in &pods {
            let lists = ["containers", "initContainers"].map(|list| pod["spec"][list].as_array());
            let names = lists.into_iter().flatten().flatten();
            let names: Vec<_> = names.map(|c| c["name"].as_str().unwrap()).collect();
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        }
        for pointer in [
            "/spec/initContainers/3",
            "/spec/containers/5",
            "/spec/volumes",
            "/spec/resources",
            "/spec/hostNetwork",
            "/spec/dnsPolicy",
            "/spec/imagePullSecrets/0",
            "/spec/serviceAccountName",
            "/spec/containers/0/env",
            "/spec/containers/0/volumeMounts",
            "/spec/containers/0/resources/limits/cpu",
            "/metadata/annotations/hallpass.dev~1cpu-limit",
            "/metadata/annotations/cluster-autoscaler.kubernetes.io~1safe-to-evict-local-volumes",
        ] {
            let with = pods.iter().filter(|pod| pod.pointer(pointer).is_some());
            let count = with.count();
            assert!((1..500).contains(&count), "{pointer}: {count}");
        }
    }
}
