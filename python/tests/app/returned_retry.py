from rq import Retry


def again(most, intervals):
    return Retry(max=most, interval=intervals)
