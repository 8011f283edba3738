import threading

threading.Thread(target=threading.Event().wait, daemon=True, name="of-the-module").start()
