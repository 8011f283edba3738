import os
import signal

read_end, write_end = os.pipe2(os.O_NONBLOCK)
signal.signal(signal.SIGCHLD, lambda *_: None)
signal.set_wakeup_fd(write_end)
