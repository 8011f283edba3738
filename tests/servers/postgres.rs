//! A PostgreSQL server for the tests: in a temporary folder, on a free port of the loopback. It ends with the
//! process that started it, however that ends.
//!
//! A shell runs between: it carries out commands that arrive line by line. When its input ends, because the
//! test is over or was killed, it stops the server and removes the folder.

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tikkun::config::PostgresSettings;
use tikkun::store::migrate_postgres;

/// The one server of this test binary.
static SERVER: LazyLock<Server> = LazyLock::new(Server::start);
/// A database with all tables, from which each test gets a copy.
const TEMPLATE: &str = "tikkun_template";
/// Tries to get a port that nobody takes in between.
const PORTS: u32 = 5;
/// Where Debian keeps the programs of each version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// What the shell does; `$1` is the folder, `$2` the programs, `$3` the port, the rest how to become an
/// unprivileged user. Each order is answered with one line; what follows `up` are variables of the server.
const SHELL: &str = r#"
folder=$1; bin=$2; port=$3; shift 3
PATH=$PATH:/usr/sbin
trap '' INT TERM HUP
up() {
    for try in 1 2 3 4 5 6 7 8 9 10; do
        "$@" env $variables "$bin/pg_ctl" -D "$folder/data" -s -w -t 60 -l "$folder/log" start >/dev/null 2>&1 && return 0
        sleep 0.5
    done
    return 1
}
while read -r order variables; do
    case $order in
        init) "$@" "$bin/initdb" -D "$folder/data" -U tikkun -A trust -E UTF8 --no-locale --no-sync >"$folder/initdb.log" 2>&1 &&
              cat "$folder/settings" >>"$folder/data/postgresql.conf" ;;
        up) up "$@" ;;
        down) "$@" "$bin/pg_ctl" -D "$folder/data" -s -w -m fast stop >/dev/null 2>&1 ;;
        kill) kill -KILL "$(head -n 1 "$folder/data/postmaster.pid")" ;;
        pooler) "$@" pgbouncer -q -d "$folder/pgbouncer.ini" ;;
        *) false ;;
    esac
    if [ $? -eq 0 ]; then echo done; else echo failed; fi
done
if [ -f "$folder/pgbouncer.pid" ]; then kill -INT "$(cat "$folder/pgbouncer.pid")" 2>/dev/null; fi
"$@" "$bin/pg_ctl" -D "$folder/data" -s -w -m immediate stop >/dev/null 2>&1
# What is still going down may write a last file.
for try in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$folder" && break; sleep 0.5; done
"#;

/// A running server.
pub struct Server {
    folder: PathBuf,
    port: u16,
    shell: Mutex<Shell>,
    made: AtomicU32,
}

struct Shell {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Server {
    /// The server that all tests of this binary share.
    pub fn shared() -> &'static Self {
        &SERVER
    }

    /// A server of one test's own, to be stopped and killed as it likes.
    pub fn start() -> Self {
        let bin = programs();
        for _ in 0..PORTS {
            let server = Self::on(&bin, free_port());
            server.order("init").expect("initdb makes a cluster");
            if server.order("up").is_ok() {
                // A runtime of its own: this may be called in the middle of a test's.
                let making = || server.make_template();
                std::thread::scope(|scope| scope.spawn(making).join()).expect("a template");
                return server;
            }
        }
        panic!("PostgreSQL does not start on any of {PORTS} free ports");
    }

    fn on(bin: &Path, port: u16) -> Self {
        let folder = tempfile::Builder::new().prefix("tikkun-postgres-").tempdir().unwrap().keep();
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nfsync = off\n\
             full_page_writes = off\nmax_connections = 300\nshared_buffers = 128MB\n",
            folder.display()
        );
        fs::write(folder.join("settings"), settings).unwrap();
        let user = unprivileged(&folder);
        let mut child = Command::new("/bin/sh")
            .args(["-c", SHELL, "sh"])
            .args([folder.as_os_str(), bin.as_os_str()])
            .arg(port.to_string())
            .args(user)
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { folder, port, shell: Mutex::new(Shell { child, orders, answers }), made: AtomicU32::new(0) }
    }

    fn order(&self, order: &str) -> Result<(), String> {
        let mut shell = self.shell.lock();
        let orders = shell.orders.as_mut().unwrap();
        writeln!(orders, "{order}").unwrap();
        orders.flush().unwrap();
        let mut answer = String::new();
        shell.answers.read_line(&mut answer).unwrap();
        let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        if answer.trim() == "done" { Ok(()) } else { Err(format!("{order}: {answer}{}", log())) }
    }

    fn make_template(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            self.run("postgres", &format!("create database {TEMPLATE}")).await;
            migrate_postgres(&self.settings(TEMPLATE), true)
                .await
                .unwrap_or_else(|e| panic!("{}", e.chain()));
        });
    }

    /// A database with all tables and nothing in them; its name.
    pub async fn database(&self) -> String {
        self.copy_of(TEMPLATE).await
    }

    /// A database without any table.
    pub async fn empty_database(&self) -> String {
        self.copy_of("template0").await
    }

    async fn copy_of(&self, template: &str) -> String {
        let name = format!("test_{}", self.made.fetch_add(1, Ordering::Relaxed));
        self.run("postgres", &format!("create database {name} template {template}")).await;
        name
    }

    /// Runs statements over a connection of their own.
    pub async fn run(&self, database: &str, sql: &str) {
        let mut connection = PgConnection::connect(&self.url(database)).await.unwrap();
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await;
        done.unwrap_or_else(|error| panic!("{error}: {sql}"));
        connection.close().await.unwrap();
    }

    pub fn url(&self, database: &str) -> String {
        self.url_at("tikkun", self.port, database)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    fn url_at(&self, user: &str, port: u16, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{port}/{database}")
    }

    /// How the store reaches a database.
    pub fn settings(&self, database: &str) -> PostgresSettings {
        settings(&self.url(database), &format!("127.0.0.1:{}/{database}", self.port))
    }

    /// The same as another role.
    pub fn settings_as(&self, role: &str, database: &str) -> PostgresSettings {
        PostgresSettings {
            url: SecretString::from(self.url_at(role, self.port, database)),
            ..self.settings(database)
        }
    }

    /// A fast shutdown: every session is told to go.
    pub fn stop(&self) {
        self.order("down").unwrap();
    }

    /// `kill -9`: nobody is told anything.
    pub fn kill(&self) {
        self.order("kill").unwrap();
    }

    /// Starts a server that was stopped or killed, and waits until it answers.
    pub fn start_again(&self) {
        self.order("up").unwrap();
    }

    /// The same with these variables, until it is stopped.
    pub fn start_again_with(&self, variables: impl IntoIterator<Item = (&'static str, String)>) {
        let variables = variables.into_iter().map(|(name, value)| format!(" {name}={value}"));
        self.order(&format!("up{}", variables.collect::<String>())).unwrap();
    }

    /// With its data.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// PgBouncer in transaction mode in front of all databases, with so many connections to each; its URL
    /// of a database.
    pub fn pooler(&self, connections: u32, database: &str) -> String {
        self.pooler_with("", connections, database)
    }

    /// The same with a line of its configuration besides.
    pub fn pooler_with(&self, line: &str, connections: u32, database: &str) -> String {
        let port = free_port();
        let folder = self.folder.display();
        let ini = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir = {folder}\nauth_type = any\npool_mode = transaction\ndefault_pool_size = {connections}\n\
             max_client_conn = 100\nlogfile = {folder}/pgbouncer.log\npidfile = {folder}/pgbouncer.pid\n{line}\n",
            self.port
        );
        // `any` logs in as the user of the database's line.
        let ini = ini.replace("* = host", "* = user=tikkun host");
        fs::write(self.folder.join("pgbouncer.ini"), ini).unwrap();
        self.order("pooler").unwrap_or_else(|error| {
            panic!("{error}{}", fs::read_to_string(self.folder.join("pgbouncer.log")).unwrap_or_default())
        });
        self.url_at("tikkun", port, database)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let shell = self.shell.get_mut();
        drop(shell.orders.take());
        let _ = shell.child.wait();
    }
}

/// How the store reaches a database under a URL.
pub fn settings(url: &str, place: &str) -> PostgresSettings {
    PostgresSettings {
        url: SecretString::from(url),
        place: place.to_owned(),
        max_connections: 4,
        acquire_timeout: Duration::from_secs(20),
        statement_timeout: Duration::from_secs(20),
        lock_timeout: Duration::from_secs(10),
        prepared_statements: true,
    }
}

/// The version of the server that is started.
pub fn version() -> String {
    let told =
        Command::new(programs().join("postgres")).arg("--version").output().expect("postgres is installed");
    let told = String::from_utf8(told.stdout).unwrap();
    told.split_whitespace().nth(2).expect("its version").to_owned()
}

/// The newest version's programs.
fn programs() -> PathBuf {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let newest = versions
        .filter(|entry| entry.path().join("bin/initdb").is_file())
        .max_by_key(|entry| entry.file_name().to_string_lossy().parse::<u32>().unwrap_or_default());
    match newest {
        Some(entry) => entry.path().join("bin"),
        None => {
            panic!("PostgreSQL is not installed under {DEBIAN}; `tests/run` installs what the tests need")
        }
    }
}

/// PostgreSQL does not run as root: the words before a command that make it somebody else's.
fn unprivileged(folder: &Path) -> Vec<String> {
    if !rustix::process::geteuid().is_root() {
        return Vec::new();
    }
    let is_user = |name: &&str| Command::new("id").arg(name).output().is_ok_and(|done| done.status.success());
    let user = ["postgres", "nobody"].into_iter().find(is_user).expect("a user without rights");
    let group = Command::new("id").args(["-gn", user]).output().unwrap().stdout;
    let group = String::from_utf8(group).unwrap().trim().to_owned();
    let owned = Command::new("chown").args(["-R", &format!("{user}:{group}")]).arg(folder).status().unwrap();
    assert!(owned.success());
    ["setpriv", "--reuid", user, "--regid", &group, "--clear-groups"].map(ToOwned::to_owned).to_vec()
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
