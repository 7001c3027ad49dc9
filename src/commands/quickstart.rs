//! `quickstart`: how to begin.

use super::{Exit, print};
use crate::error::Error;

const PAGE: &str = "\
Quick start
===========

1. Write a .testr.conf in the directory of the project. For Python tests:

     [DEFAULT]
     test_command=python -m subunit.run discover . $LISTOPT $IDOPTION
     test_id_option=--load-list $IDFILE
     test_list_option=--list

   For tests that are executable files below tests/:

     [DEFAULT]
     test_command=$REGATTA scripts tests $LISTOPT $IDOPTION
     test_id_option=--load-list $IDFILE
     test_list_option=--list

2. Make a repository for the results:

     $ regatta init

3. Run the tests, all of them and in parallel:

     $ regatta run --parallel

   Failures are shown as they happen; the last line says PASSED or FAILED.

4. See what fails, and run only that until nothing does:

     $ regatta failing
     $ regatta run --failing

5. Run each worker on an instance of its own. Three shell lines say how to make
   instances, run a command on one, and give them back:

     instance_provision=callouts/local provision $INSTANCE_COUNT
     instance_execute=callouts/local execute $INSTANCE_ID $FILES -- $COMMAND
     instance_dispose=callouts/local dispose $INSTANCE_IDS

`regatta help run` explains every key of .testr.conf and every option.
";

pub(super) fn quickstart() -> Result<Exit, Error> {
    print(PAGE)
}
