package mail

import "context"

// Probe connects to the server, secures the connection and signs in as Send
// does, and takes leave without sending anything. An error is a *SendError.
func (s *SMTP) Probe(ctx context.Context) error {
	c, err := s.connect(ctx)
	if err != nil {
		return err
	}
	c.quit()
	return nil
}
