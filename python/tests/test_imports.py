"""Modules that jobs import are told, tried in a child, and imported once by the process that forks."""

import json
import pickle
import select

from support import ShimTest

from tikkun_shim import frames

NOTHING = {"threads": [], "connections": [], "libraries": {}}


class ImportsTest(ShimTest):
    def preload(self, *names):
        self.tikkun.send(frames.PRELOAD, *names)
        kind, fields = self.tikkun.take("PRELOADED")
        while kind != frames.PRELOADED:
            kind, fields = self.tikkun.take("PRELOADED")
        return json.loads(fields[0])

    def imported(self, child, job):
        """Runs a job, and returns the names of modules that its child tells of."""
        child.imported = []
        child.run(job)
        self.assertEqual(child.after(), "done")
        return child.imported

    def try_out(self, *names):
        """Which modules were tried, and what came of it, or None if the child has gone."""
        child = self.tikkun.fork()
        child.send(frames.TRY, *names)
        tried = []
        while True:
            frame = child.next("TRIED")
            if frame is None:
                return tried, None
            kind, fields = frame
            if kind == frames.TRIED:
                self.assertEqual(self.tikkun.exit_of(child)[0], 0)
                return tried, json.loads(fields[0])
            self.assertEqual(kind, frames.PHASE)
            tried.append(frames.text(fields[0]))


class Imports(ImportsTest):
    def test_what_a_job_imports_is_told_once(self):
        child = self.tikkun.fork("warm")
        names = self.imported(child, self.make("jobs.import_it", "tabnanny"))
        self.assertIn("tabnanny", names)
        self.assertFalse([name for name in names if name.startswith(("tikkun_shim", "__"))], names)
        self.assertEqual(self.imported(child, self.make("jobs.import_it", "tabnanny")), [])

    def test_who_brought_others_along_is_told_first_and_loads_them(self):
        names = self.imported(self.tikkun.fork(), self.make("jobs.import_it", "brings_another"))
        self.assertLess(names.index("brings_another"), names.index("colorsys"))
        self.assertEqual(self.preload("brings_another", "colorsys")["loaded"], ["brings_another"])

    def test_modules_that_cannot_be_imported_by_name_are_not_told(self):
        names = self.imported(self.tikkun.fork(), self.make("jobs.make_modules_up"))
        self.assertFalse([name for name in names if name.startswith("made_up")], names)

    def test_children_have_what_was_imported_ahead(self):
        told = self.preload("wave", "not_there", "wave")
        self.assertEqual(told["loaded"], ["wave"])
        self.assertEqual(told["failed"], {"not_there": "ModuleNotFoundError: No module named 'not_there'"})
        self.assertEqual({name: told[name] for name in NOTHING}, NOTHING)
        child = self.tikkun.fork()
        child.run(self.make("jobs.is_loaded", "wave"))
        self.assertEqual(child.after(), "done")

    def test_trial_goes_on_after_a_failed_import(self):
        tried, told = self.try_out("not_there", "imaplib")
        self.assertEqual((tried, told["all"]), (["not_there", "imaplib"], True))
        self.assertEqual(list(told["left_out"]), ["not_there"])

    def test_trial_stops_at_a_thread(self):
        tried, told = self.try_out("imaplib", "starts_thread", "poplib")
        self.assertEqual((tried, told["all"]), (["imaplib", "starts_thread"], False))
        self.assertEqual(told["left_out"], {"starts_thread": "it starts threads: of-the-module"})

    def test_trial_stops_at_a_connection(self):
        _, told = self.try_out("opens_connection")
        self.assertIn("it opens connections: ", told["left_out"]["opens_connection"])
        self.assertIn("redis.sock", told["left_out"]["opens_connection"])
        _, told = self.try_out("opens_event_loop")
        self.assertIn("it opens connections: a socket", told["left_out"]["opens_event_loop"])

    def test_trial_stops_at_a_library_that_cannot_be_forked(self):
        _, told = self.try_out("grpc")
        self.assertIn("it loads grpc: ", told["left_out"]["grpc"])

    def test_trial_stops_at_what_changes_the_process(self):
        _, told = self.try_out("changes_process")
        changed = "it changes the working folder, the environment, the default timeout of sockets"
        self.assertEqual(told["left_out"], {"changes_process": changed})

    def test_trial_stops_at_a_database(self):
        _, told = self.try_out("opens_database")
        self.assertRegex(told["left_out"]["opens_database"], "it opens connections: /.*/shop.db")

    def test_trial_names_the_module_before_it_ends_the_process(self):
        self.assertEqual(self.try_out("imaplib", "ends_process"), (["imaplib", "ends_process"], None))

    def test_children_are_reaped_though_a_module_wants_the_signals(self):
        self.assertEqual(self.preload("takes_signals")["loaded"], ["takes_signals"])
        self.run_once(self.make("jobs.add", 1, 2))


class Randomness(ImportsTest):
    def test_each_process_draws_numbers_of_its_own(self):
        self.preload("numpy.random")
        drawn = [pickle.loads(self.run_once(self.make("jobs.draw"))[0][1]) for _ in range(3)]
        for numbers in zip(*drawn):
            self.assertEqual(len(set(numbers)), 3, drawn)


class DefaultTimeout(ImportsTest):
    def test_children_wait_for_jobs_whatever_the_default_timeout_of_sockets_is(self):
        self.preload("changes_process")
        child = self.tikkun.fork("warm")
        self.assertEqual(select.select([child.sock], [], [], 0.5)[0], [], "it says nothing, and does not end")
        child.run(self.make("jobs.add", 1, 2))
        self.assertEqual(child.after(), "done")


class Spoiled(ImportsTest):
    def test_what_an_import_brings_to_the_process_that_forks_is_told_once(self):
        told = self.preload("starts_thread", "grpc")
        self.assertEqual(told["threads"], ["of-the-module"])
        self.assertEqual(list(told["libraries"]), ["grpc"])
        self.assertEqual({name: self.preload("poplib")[name] for name in NOTHING}, NOTHING)
