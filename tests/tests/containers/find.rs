//! Containers are found by name, id, label and compose service.

use temblor_host::engine::EngineError;
use temblor_host::netns::Netns;
use temblor_host::protected::{self, Refused, SHARE_MAX, Word};
use temblor_host::target::find::{
    FindError, Found, again, by_compose_service, by_container, by_label, by_pid,
};
use temblor_host::target::pick::{Pick, choose};
use temblor_host::target::{Origin, Target};

use crate::engine::{Docker, skipped};

const SERVICE: &str = "com.docker.compose.service";
const PROJECT: &str = "com.docker.compose.project";

fn names(found: &[Target]) -> Vec<&str> {
    found.iter().map(|target| target.service.as_str()).collect()
}

#[track_caller]
fn error(found: Found) -> String {
    found.unwrap_err().to_string()
}

#[test]
fn containers_are_found_by_name_id_label_and_compose_service() {
    if skipped() {
        return;
    }
    let docker = Docker::up();
    let engine = &docker.engine;
    assert_eq!(
        error(by_container(engine, "shop-db")),
        "there is no container `shop-db`; there is no container at all that could be seen"
    );
    // What compose would have made of two projects, the second of which is down.
    let api = [(SERVICE, "api"), (PROJECT, "shop"), ("tier", "front end")];
    docker.run("shop-api-2", &api, "no");
    let first = docker.run("shop-api-1", &api, "no");
    let db = docker.run("shop-db", &[(SERVICE, "db"), (PROJECT, "shop")], "no");
    docker.create("blog-db", &[(SERVICE, "db"), (PROJECT, "blog")], "no");

    let found = by_container(engine, "shop-api-1").unwrap();
    let [target] = &found[..] else { panic!("{found:?}") };
    assert_eq!(target.service, "shop-api-1");
    let socket = engine.socket().to_path_buf();
    assert_eq!(target.origin, Origin::Container { socket, id: first.clone() });
    let main = temblor_host::process::name(target.pids[0]);
    assert_eq!(main.as_deref(), Some("redis-server"));
    assert_ne!(target.netns, Netns::of_this_thread().unwrap());
    assert_eq!(target.addresses.len(), 1, "{target:?}");
    assert_eq!(target.processes_now(), target.pids);
    target.has_own_group().unwrap();
    assert!(target.group.dirs().iter().all(|dir| dir.ends_with(&first)), "{:?}", target.group);
    protected::check(&found, &[]).unwrap();

    for (wanted, expected) in
        [(&first[..12], "shop-api-1"), ("/shop-db", "shop-db"), (&db, "shop-db")]
    {
        assert_eq!(names(&by_container(engine, wanted).unwrap()), [expected]);
    }
    for label in ["tier=front end", "tier"] {
        let found = by_label(engine, label).unwrap();
        assert_eq!(names(&found), ["shop-api-1", "shop-api-2"], "{label}");
    }
    for project in [None, Some("shop")] {
        let found = by_compose_service(engine, "api", project).unwrap();
        assert_eq!(names(&found), ["shop-api-1", "shop-api-2"], "{project:?}");
    }
    assert_eq!(names(&by_compose_service(engine, "db", Some("shop")).unwrap()), ["shop-db"]);

    for (found, expected) in [
        (by_container(engine, "shop-dv"), "there is no container `shop-dv`; there is shop-db, "),
        (by_container(engine, "blog-db"), "the container blog-db is created, not running: "),
        (
            by_compose_service(engine, "db", None),
            "the compose service `db` is in the projects blog, shop: name one of them",
        ),
        (by_compose_service(engine, "db", Some("blog")), "the container blog-db is created, "),
        (
            by_compose_service(engine, "web", Some("shop")),
            "there is no compose service `web of shop`; there is ",
        ),
        (
            by_label(engine, "tier=back end"),
            "there is no container with the label `tier=back end`; there is tier=front end, ",
        ),
    ] {
        let error = error(found);
        assert!(error.starts_with(expected), "{error}");
    }

    // One of two is drawn, and both at once want a word.
    let both = by_label(engine, "tier").unwrap();
    let one = choose(both.clone(), Pick::Share(0.5), 7).unwrap();
    assert_eq!(one.len(), 1);
    protected::check_share(both.len(), one.len(), SHARE_MAX, &[]).unwrap();
    protected::check_share(both.len(), both.len(), SHARE_MAX, &[]).unwrap_err();

    // The engine itself is not for the asking.
    let daemon = by_pid(docker.pid()).unwrap();
    let Err(Refused::Processes(refused)) = protected::check(&daemon, &[]) else {
        panic!("dockerd may be acted upon")
    };
    assert!(refused.iter().any(|one| one.name == "dockerd"), "{refused:?}");
    assert!(refused.iter().all(|one| one.word == Word::Engine), "{refused:?}");

    // A restart gives a container another process, and mostly another namespace.
    let pid = temblor_host::engine::restart(&target.origin, std::time::Duration::from_secs(5));
    let now = again(target).unwrap();
    assert_eq!(now.pids[0], pid.unwrap());
    assert_ne!(now.pids[0], target.pids[0]);

    engine.kill(&db, "SIGKILL").unwrap();
    let gone = temblor_tests::wait_for("the end of shop-db", crate::world::PATIENCE, || {
        by_container(engine, "shop-db").err()
    });
    assert!(
        matches!(&gone, FindError::Engine(EngineError::NotRunning { state, .. }) if state == "exited"),
        "{gone}"
    );
    let engine = engine.clone();
    docker.down();
    assert!(matches!(
        by_container(&engine, "shop-api-1"),
        Err(FindError::Engine(EngineError::NoEngine { .. } | EngineError::NoAnswer { .. }))
    ));
}
