package main

import "context"

type completeCmd struct {
	taskArg
	variableFlags
	fileFlags
	purposeFlag
}

func (completeCmd) Help() string {
	return talksToServer + " The variables must fit the task's form; what does not is named by its JSON pointer."
}

func (c *completeCmd) Run(ctx context.Context, e *env) error {
	variables, err := c.variables(e)
	if err != nil {
		return err
	}
	cl, err := e.connectFor(c.purposeFlag)
	if err != nil {
		return err
	}
	if variables, err = c.attach(ctx, e, cl, variables); err != nil {
		return err
	}
	receipt, err := cl.CompleteTask(ctx, c.Task, variables)
	if err != nil {
		return err
	}
	return e.done("completed", receipt)
}
