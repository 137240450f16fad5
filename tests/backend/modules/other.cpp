// A library that has nothing to do with actmatch.
extern "C" int actmatch_test_answer() { return 42; }
