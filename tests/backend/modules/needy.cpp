// Needs a library that is not where the loader looks.
extern "C" int actmatch_test_answer();
extern "C" int actmatch_test_question() { return actmatch_test_answer(); }
