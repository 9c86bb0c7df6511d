//! The images in rendered Kubernetes manifests.
//!
//! A pod is known by its shape, so that custom resources count: whatever has a
//! list of `containers`, `initContainers` or `ephemeralContainers`. Definitions of
//! custom resources only describe such lists, so they are passed over. An `image`
//! elsewhere, as custom resources have it, is named as not followed.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::fs::{Disk, Fs};
use crate::project::error::{ProjectError, cut, place};
use crate::project::yaml::{self, Node, Value};
use crate::project::{Collected, Found, NotFollowed, read};

/// Lists of containers in a pod, and how one of each is called.
const CONTAINERS: [(&str, &str); 3] = [
    ("containers", "container"),
    ("initContainers", "init container"),
    ("ephemeralContainers", "ephemeral container"),
];

/// Finds the images of all pods that manifests describe: in files, in the `.yaml`,
/// `.yml` and `.json` files of folders, and for `-` in what `input` gives.
pub fn kubernetes(files: &[PathBuf], input: &mut dyn Read) -> Result<Found, ProjectError> {
    let mut walk = Walk { collected: Collected::default(), file: PathBuf::new() };
    for named in files {
        match read(named, input) {
            Ok(bytes) => walk.file(named, &bytes)?,
            Err(ProjectError::File(error))
                if error.source.kind() == io::ErrorKind::IsADirectory =>
            {
                for file in members(named)? {
                    walk.file(&file, &read(&file, input)?)?;
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(walk.collected.found)
}

/// The manifests in a folder, sorted.
fn members(folder: &Path) -> Result<Vec<PathBuf>, ProjectError> {
    let mut names = Disk.list(folder)?;
    names.retain(|name| {
        let ending = Path::new(name).extension().and_then(|ending| ending.to_str());
        matches!(ending, Some("yaml" | "yml" | "json"))
    });
    if names.is_empty() {
        return Err(ProjectError::NoManifest { directory: folder.to_owned() });
    }
    names.sort_unstable();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// What is no YAML for being a template is better called that.
fn template(bytes: &[u8], error: ProjectError) -> ProjectError {
    let ProjectError::Yaml { mut place, problem } = error else { return error };
    let Some(at) = bytes.windows(2).position(|two| two == b"{{") else {
        return ProjectError::Yaml { place, problem };
    };
    let before = bytes.iter().take(at).filter(|&&byte| byte == b'\n').count();
    place.line = u32::try_from(before + 1).unwrap_or(0);
    ProjectError::Template { place }
}

struct Walk {
    collected: Collected,
    file: PathBuf,
}

impl Walk {
    fn file(&mut self, file: &Path, bytes: &[u8]) -> Result<(), ProjectError> {
        file.clone_into(&mut self.file);
        let documents = yaml::parse(file, bytes).map_err(|error| template(bytes, error))?;
        documents.iter().try_for_each(|document| self.node(document, ""))
    }

    /// Looks at a part of what `owner` describes.
    fn node(&mut self, node: &Node, owner: &str) -> Result<(), ProjectError> {
        for item in node.items() {
            self.node(item, owner)?;
        }
        let own = name(node);
        let owner = own.as_deref().unwrap_or(owner);
        if own.is_some() && text(node, "kind") == "CustomResourceDefinition" {
            return Ok(());
        }
        let mut pod = false;
        for (key, value) in node.entries() {
            let list = CONTAINERS.iter().find(|(name, _)| key == name);
            match (list, &value.value) {
                (Some((_, kind)), Value::List(containers)) => {
                    pod = true;
                    for container in containers {
                        self.container(container, &format!("{owner}, {kind}"))?;
                    }
                }
                (None, Value::Text(image)) if key == "image" && !owner.is_empty() => {
                    self.elsewhere(image, value, owner);
                }
                _ => self.node(value, owner)?,
            }
        }
        if pod {
            self.volumes(node, owner)?;
        }
        Ok(())
    }

    fn container(&mut self, container: &Node, by: &str) -> Result<(), ProjectError> {
        let by = format!("{by} {}", text(container, "name"));
        let Some(image) = container.get("image") else { return Ok(()) };
        self.image(image, by.trim_end())
    }

    fn volumes(&mut self, pod: &Node, owner: &str) -> Result<(), ProjectError> {
        for volume in pod.get("volumes").map_or(&[][..], Node::items) {
            let reference = volume.get("image").and_then(|image| image.get("reference"));
            if let Some(reference) = reference {
                let by = format!("{owner}, volume {}", text(volume, "name"));
                self.image(reference, by.trim_end())?;
            }
        }
        Ok(())
    }

    fn image(&mut self, image: &Node, by: &str) -> Result<(), ProjectError> {
        let place = place(&self.file, image.line);
        let Some(text) = image.text() else {
            return Err(ProjectError::invalid(place, by, "its image is not a text"));
        };
        if text.contains("{{") {
            return Err(ProjectError::Template { place });
        }
        self.collected.image(text, by, place, false)
    }

    fn elsewhere(&mut self, image: &str, node: &Node, owner: &str) {
        if image.is_empty() {
            return;
        }
        self.collected.found.not_followed.push(NotFollowed {
            what: format!("image `{}` of {owner}", cut(image)),
            why: "it is not that of a container",
            place: place(&self.file, node.line),
        });
    }
}

/// How a resource is called, if this is one.
fn name(node: &Node) -> Option<String> {
    node.get("apiVersion")?.text()?;
    let kind = cut(node.get("kind")?.text()?);
    let Some(metadata) = node.get("metadata") else { return Some(kind) };
    let (space, name) = (text(metadata, "namespace"), text(metadata, "name"));
    Some(match (space, name) {
        (_, "") => kind,
        ("", name) => format!("{kind} {}", cut(name)),
        (space, name) => format!("{kind} {}/{}", cut(space), cut(name)),
    })
}

fn text<'a>(node: &'a Node, key: &str) -> &'a str {
    node.get(key).and_then(Node::text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Result<Found, ProjectError> {
        kubernetes(&[PathBuf::from("-")], &mut text.as_bytes())
    }

    fn images(text: &str) -> Vec<(String, String)> {
        let images = found(text).unwrap().images;
        images.into_iter().map(|used| (used.image, used.by.join("; "))).collect()
    }

    #[test]
    fn pods_are_found_wherever_they_are() {
        let text = r"
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: shop}
spec:
  initContainers:
  - {name: wait, image: busybox}
  containers:
  - name: app
    image: ex.com/app:1
  - {name: app2, image: ex.com/app:1}
  ephemeralContainers: [{name: look, image: 'busybox:1.36@sha256:00112233445566778899aabbccddeeff'}]
  volumes:
  - {name: model, image: {reference: ex.com/model:1, pullPolicy: Always}}
---
# nothing
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: job, image: job:2}]}}}}}
---
apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: web}
  spec: {template: {spec: {containers: [{name: app, image: ex.com/app:1}]}}}
";
        let found = images(text);
        let found: Vec<_> = found.iter().map(|(image, by)| (&**image, &**by)).collect();
        assert_eq!(
            found,
            [
                ("busybox", "Pod shop/one, init container wait"),
                (
                    "ex.com/app:1",
                    "Pod shop/one, container app; Pod shop/one, container app2; \
                     Deployment web, container app"
                ),
                (
                    "busybox:1.36@sha256:00112233445566778899aabbccddeeff",
                    "Pod shop/one, ephemeral container look"
                ),
                ("ex.com/model:1", "Pod shop/one, volume model"),
                ("job:2", "CronJob nightly, container job"),
            ]
        );
    }

    #[test]
    fn what_is_no_container_is_named_or_passed_over() {
        let text = r"
apiVersion: monitoring.coreos.com/v1
kind: Prometheus
metadata: {name: k8s, namespace: monitoring}
spec:
  image: ex.com/prometheus:3
  containers: [{name: reload, image: ex.com/reload:1}, {name: bare}]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: x}
spec: {versions: [{schema: {containers: [{image: no}], image: no}}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: {image: '{{ kept }}', more: 'containers: [{image: no}]'}
";
        let found = found(text).unwrap();
        let images: Vec<_> = found.images.iter().map(|used| used.image.as_str()).collect();
        assert_eq!(images, ["ex.com/reload:1"]);
        let named: Vec<_> = found.not_followed.iter().map(|one| one.what.as_str()).collect();
        assert_eq!(
            named,
            [
                "image `ex.com/prometheus:3` of Prometheus monitoring/k8s",
                "image `{{ kept }}` of ConfigMap c"
            ]
        );
    }

    #[test]
    fn errors_say_what_and_where() {
        let pod =
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - image: ";
        for (text, problem) in [
            (format!("{pod}A:b"), "standard input, line 6: Pod p, container: `A:b` is not"),
            (format!("{pod}12"), "line 6: Pod p, container: its image is not a text"),
            (format!("{pod}'{{{{ .Values.image }}}}'"), "line 6: this is a template"),
            (format!("{pod}{{{{ .Values.image }}}}:1"), "line 6: this is a template"),
            ("{{- if .Values.x }}\na: b\n{{- end }}\n".to_owned(), "line 1: this is a template"),
            ("a: [\n".to_owned(), "cannot read standard input, line"),
        ] {
            let message = found(&text).unwrap_err().to_string();
            assert!(message.contains(problem), "{text}\n{message}");
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "tests write their folders themselves")]
    fn folders_are_read_in_order() {
        let folder = tempfile::TempDir::new().unwrap();
        let pod = |image: &str| {
            format!("{{\"spec\":\n\t{{\"containers\":[{{\"image\":\"{image}\"}}]}}}}")
        };
        for (name, image) in [("b.yml", "b"), ("a.json", "a"), ("c.yaml", "c"), ("d.txt", "d")] {
            std::fs::write(folder.path().join(name), pod(image)).unwrap();
        }
        let found = kubernetes(&[folder.path().to_owned()], &mut io::empty()).unwrap();
        let images: Vec<_> = found.images.iter().map(|used| used.image.as_str()).collect();
        assert_eq!(images, ["a", "b", "c"]);
        let empty = tempfile::TempDir::new().unwrap();
        let error = kubernetes(&[empty.path().to_owned()], &mut io::empty()).unwrap_err();
        assert!(error.to_string().starts_with("no .yaml, .yml or .json file in "), "{error}");
    }
}
