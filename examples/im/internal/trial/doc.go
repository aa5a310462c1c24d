// Package trial is what the demonstration and the fault programme share: users who talk on a messenger that runs
// somewhere, their records of what was acknowledged and of what they heard, the comparison of the two, and the lines of
// a result.
//
//	crowd := trial.NewCrowd(trial.CrowdOptions{Gateway: address, Token: token, Users: 100, Thinking: time.Second})
//	err := crowd.LogIn(ctx)
//	talk := crowd.StartTalk(ctx)
//	... something fails ...
//	audit, err := crowd.Finish(ctx, talk, 20*time.Second)
//	report.Promise(audit.OK(), "something failed", "%v", audit)
//
// It knows the messenger by its gateway and by what clients see, so it may run in this process or on other machines.
package trial

import "time"

// Patience bounds what should take a moment.
const Patience = 20 * time.Second
